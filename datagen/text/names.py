"""Names that the filter of real people knows: well-known persons, artists that prompts imitate, given names.

Data only, folded to lower case without diacritics; what is missing here is seen by its form only ("Emma Smith").
"""

from __future__ import annotations

# Whole names, or surnames that mean one person only.
KNOWN = frozenset(
    name.strip()
    for name in """
    donald trump, joe biden, barack obama, michelle obama, hillary clinton, bill clinton, george bush, george w
    bush, ronald reagan, jimmy carter, richard nixon, john f kennedy, jfk, abraham lincoln, george washington,
    thomas jefferson, benjamin franklin, theodore roosevelt, franklin roosevelt, kamala harris, bernie sanders,
    nancy pelosi, mike pence, vladimir putin, volodymyr zelensky, volodymyr zelenskyy, angela merkel, olaf
    scholz, emmanuel macron, boris johnson, theresa may, margaret thatcher, tony blair, winston churchill, keir
    starmer, rishi sunak, david cameron, xi jinping, mao zedong, kim jong un, kim jong il, narendra modi,
    mahatma gandhi, indira gandhi, jawaharlal nehru, imran khan, recep tayyip erdogan, benjamin netanyahu,
    yasser arafat, saddam hussein, osama bin laden, muammar gaddafi, bashar al assad, jair bolsonaro, lula da
    silva, fidel castro, che guevara, hugo chavez, nicolas maduro, evita peron, nelson mandela, desmond tutu,
    martin luther king, malcolm x, rosa parks, greta thunberg, malala yousafzai, adolf hitler, hitler, heinrich
    himmler, joseph goebbels, josef stalin, joseph stalin, stalin, vladimir lenin, leon trotsky, benito
    mussolini, mussolini, francisco franco, pol pot, napoleon bonaparte, napoleon, julius caesar, cleopatra,
    marie antoinette, joan of arc, queen elizabeth, queen victoria, king charles, prince william, prince harry,
    meghan markle, kate middleton, princess diana, lady diana, pope francis, pope benedict, pope john paul, pope
    leo, dalai lama, mother teresa, elon musk, jeff bezos, bill gates, mark zuckerberg, steve jobs, tim cook,
    sam altman, warren buffett, rupert murdoch, julian assange, edward snowden, jeffrey epstein, albert
    einstein, isaac newton, charles darwin, nikola tesla, thomas edison, marie curie, stephen hawking, galileo
    galilei, alan turing, ada lovelace, carl sagan, richard feynman, neil armstrong, buzz aldrin, sigmund freud,
    karl marx, friedrich nietzsche, immanuel kant, william shakespeare, shakespeare, jane austen, charles
    dickens, mark twain, oscar wilde, edgar allan poe, ernest hemingway, virginia woolf, leo tolstoy, fyodor
    dostoevsky, franz kafka, stephen king, agatha christie, j k rowling, jk rowling, george orwell, j r r
    tolkien, tolkien, wolfgang amadeus mozart, mozart, ludwig van beethoven, beethoven, johann sebastian bach,
    frederic chopin, taylor swift, beyonce, rihanna, lady gaga, madonna ciccone, michael jackson, elvis presley,
    freddie mercury, john lennon, paul mccartney, david bowie, mick jagger, kurt cobain, jimi hendrix, bob
    marley, bob dylan, johnny cash, dolly parton, britney spears, ariana grande, billie eilish, katy perry,
    selena gomez, miley cyrus, justin bieber, justin timberlake, ed sheeran, harry styles, adele adkins,
    shakira, jennifer lopez, kanye west, jay z, eminem, snoop dogg, tupac shakur, kendrick lamar, drake graham,
    nicki minaj, cardi b, doja cat, dua lipa, lana del rey, olivia rodrigo, bad bunny, whitney houston, amy
    winehouse, edith piaf, maria callas, luciano pavarotti, tom hanks, tom cruise, brad pitt, angelina jolie,
    jennifer aniston, leonardo dicaprio, johnny depp, keanu reeves, will smith, denzel washington, morgan
    freeman, samuel l jackson, robert downey jr, chris hemsworth, chris evans, chris pratt, scarlett johansson,
    emma watson, emma stone, natalie portman, anne hathaway, jennifer lawrence, margot robbie, gal gadot, meryl
    streep, nicole kidman, julia roberts, sandra bullock, charlize theron, cate blanchett, kate winslet, keira
    knightley, megan fox, ana de armas, zendaya, timothee chalamet, ryan gosling, ryan reynolds, hugh jackman,
    daniel craig, daniel radcliffe, benedict cumberbatch, tom holland, tom hardy, robert pattinson, kristen
    stewart, millie bobby brown, jenna ortega, sydney sweeney, anya taylor joy, florence pugh, dwayne johnson,
    the rock johnson, arnold schwarzenegger, sylvester stallone, bruce willis, bruce lee, jackie chan, jet li,
    clint eastwood, harrison ford, al pacino, robert de niro, marlon brando, jack nicholson, anthony hopkins,
    nicolas cage, danny devito, jim carrey, robin williams, charlie chaplin, audrey hepburn, marilyn monroe,
    elizabeth taylor, grace kelly, james dean, bette davis, greta garbo, oprah winfrey, ellen degeneres, kim
    kardashian, kylie jenner, kendall jenner, paris hilton, joe rogan, pewdiepie, mr beast, mrbeast, david
    attenborough, gordon ramsay, jamie oliver, lionel messi, cristiano ronaldo, neymar, diego maradona, pele
    nascimento, kylian mbappe, zinedine zidane, david beckham, michael jordan, lebron james, kobe bryant,
    stephen curry, shaquille o neal, serena williams, roger federer, rafael nadal, novak djokovic, tiger woods,
    usain bolt, simone biles, muhammad ali, mike tyson, conor mcgregor, lewis hamilton, michael schumacher, tom
    brady, shah rukh khan, amitabh bachchan, priyanka chopra, deepika padukone, aishwarya rai, alfred hitchcock,
    stanley kubrick, steven spielberg, quentin tarantino, christopher nolan, wes anderson, tim burton, david
    lynch, martin scorsese, george lucas, james cameron, ridley scott, denis villeneuve, hayao miyazaki, walt
    disney, stan lee, akira kurosawa, andrei tarkovsky, federico fellini, ingmar bergman, leonardo da vinci, da
    vinci, michelangelo, raphael sanzio, sandro botticelli, botticelli, caravaggio, rembrandt, rubens, vermeer,
    johannes vermeer, diego velazquez, francisco goya, goya, el greco, hieronymus bosch, bruegel, pieter
    bruegel, albrecht durer, durer, jan van eyck, titian, tintoretto, canaletto, bernini, artemisia gentileschi,
    vincent van gogh, van gogh, claude monet, monet, edouard manet, manet, renoir, auguste renoir, degas, edgar
    degas, paul cezanne, cezanne, paul gauguin, gauguin, toulouse lautrec, georges seurat, gustav klimt, klimt,
    egon schiele, edvard munch, munch, henri matisse, matisse, pablo picasso, picasso, georges braque, marc
    chagall, chagall, wassily kandinsky, kandinsky, paul klee, piet mondrian, mondrian, kazimir malevich, joan
    miro, salvador dali, dali, rene magritte, magritte, max ernst, giorgio de chirico, m c escher, mc escher,
    escher, frida kahlo, diego rivera, georgia o keeffe, edward hopper, norman rockwell, grant wood, andrew
    wyeth, jackson pollock, mark rothko, rothko, willem de kooning, andy warhol, warhol, roy lichtenstein,
    lichtenstein, keith haring, jean michel basquiat, basquiat, banksy, damien hirst, jeff koons, yayoi kusama,
    kusama, takashi murakami, david hockney, hockney, francis bacon, lucian freud, gerhard richter, anselm
    kiefer, ai weiwei, marina abramovic, kehinde wiley, katsushika hokusai, hokusai, utagawa hiroshige,
    hiroshige, utamaro, kuniyoshi, alphonse mucha, mucha, aubrey beardsley, gustave dore, arthur rackham,
    beatrix potter, john william waterhouse, dante gabriel rossetti, john everett millais, william morris, j m w
    turner, john constable, caspar david friedrich, albert bierstadt, ivan aivazovsky, aivazovsky, ivan
    shishkin, ilya repin, mikhail vrubel, john singer sargent, sargent, winslow homer, thomas kinkade, bob ross,
    zdzislaw beksinski, beksinski, h r giger, hr giger, giger, moebius, jean giraud, syd mead, simon stalenhag,
    stalenhag, greg rutkowski, rutkowski, artgerm, stanley lau, wlop, ilya kuvshinov, kuvshinov, loish, ross
    tran, rossdraws, sakimichan, guweiz, makoto shinkai, yoji shinkawa, akira toriyama, toriyama, junji ito,
    kentaro miura, masamune shirow, yoshitaka amano, katsuhiro otomo, eiichiro oda, naoko takeuchi, clamp manga,
    peter mohrbacher, craig mullins, james jean, jakub rozalski, alena aenami, beeple, marc simonetti, magali
    villeneuve, charlie bowater, tom bagshaw, brom, frank frazetta, frazetta, boris vallejo, julie bell, luis
    royo, michael whelan, jim burns, john howe, alan lee, brian froud, james gurney, donato giancola, rhads,
    andreas rocha, dan mumford, josan gonzalez, killian eng, mike mignola, frank miller, jim lee, alex ross,
    todd mcfarlane, jack kirby, bill watterson, charles schulz, hergé, dr seuss, gary larson, matt groening, tex
    avery, ansel adams, annie leibovitz, henri cartier bresson, dorothea lange, diane arbus, robert
    mapplethorpe, helmut newton, richard avedon, irving penn, steve mccurry, sebastiao salgado, vivian maier,
    cindy sherman, gregory crewdson, tim walker, zaha hadid, frank lloyd wright, le corbusier, antoni gaudi,
    gaudi, frank gehry, norman foster, tadao ando, auguste rodin, rodin, alexander calder, louise bourgeois,
    henry moore, giacometti
    """.replace("\n", " ").split(",")
)  # fmt: skip
GIVEN = frozenset(
    """
    james john robert michael william david richard joseph thomas charles christopher daniel matthew anthony
    mark donald steven paul andrew joshua kenneth kevin brian george edward ronald timothy jason jeffrey ryan
    jacob gary nicholas eric jonathan stephen larry justin scott brandon benjamin samuel gregory frank alexander
    raymond patrick jack dennis jerry tyler aaron jose adam henry nathan douglas zachary peter kyle walter ethan
    jeremy harold keith christian roger noah gerald carl terry sean arthur lawrence jesse dylan bryan joe jordan
    billy bruce albert willie gabriel logan alan juan wayne roy ralph randy eugene vincent russell louis philip
    bobby johnny bradley mary patricia jennifer linda elizabeth barbara susan jessica sarah karen lisa nancy
    betty margaret sandra ashley kimberly emily donna michelle carol amanda dorothy melissa deborah stephanie
    rebecca sharon laura cynthia kathleen amy angela shirley anna brenda pamela emma nicole helen samantha
    katherine christine debra rachel carolyn janet catherine maria heather diane ruth julie olivia joyce
    virginia victoria kelly lauren christina joan evelyn judith megan andrea cheryl hannah jacqueline martha
    gloria teresa ann sara madison frances kathryn janice jean abigail alice julia judy sophia grace denise
    amber doris marilyn danielle beverly isabella theresa diana natalie brittany charlotte marie kayla alexis
    lori oliver harry liam lucas leo max felix hugo oscar simon martin stefan klaus hans jurgen wolfgang dieter
    pierre jacques francois marcel antoine luc claude giovanni marco luca giuseppe carlo paolo sofia chiara
    giulia carlos luis pedro miguel diego pablo javier fernando carmen lucia ivan dmitri sergei vladimir nikolai
    boris olga natasha tatiana svetlana mohammed muhammad ahmed ali omar hassan fatima aisha raj amit priya
    arjun sanjay hiroshi kenji takashi yuki akira haruki naoko wei ming jing min jun lars erik sven ingrid
    astrid bjorn greta piotr katarzyna agnieszka ada amelia ava beatrice bernard bertha clara edith eleanor ella
    ellen ernest esther fiona gilbert harriet irene isaac jasmine josephine leonard lewis louise lucy lydia
    mabel marcus matilda mia molly monica nathaniel nina nora norman owen penelope phoebe phyllis rosa roland
    ronan rupert sebastian sylvia toby tobias vanessa walt wendy
    """.split()
)
# Given names that are words too: read as names only where both parts are capitalised.
ALSO_WORDS = frozenset(
    "mark jack frank grace may june rose lily will bill art jean amber jordan virginia ali max min".split()
)
# What follows a given name in places, things and stories.
NOT_SURNAMES = frozenset(
    """
    street avenue road square bridge river lake falls park garden gardens hill mountain mount island bay beach
    harbor harbour valley canyon castle palace cathedral church chapel abbey college university school hospital
    museum opera house hall tower station airport stadium theatre theater market hotel cafe bar inn pub county
    city town village state texas style era age day days night eve cross stone wood creeper rose cake pie tea
    sponge coat dress shirt jacket shoes boots fish bird dog cat bear rabbit mouse tree flower lily daisy potter
    pan hood claus bond holmes watson wonderland eyre karenina sawyer finn bovary frost sparrow skywalker solo
    bauer sprat crow dawson pond daniels horner doe smithsonian in on at by with and of the from wearing holding
    standing sitting walking as near
    """.split()
)
# People of stories, whom a prompt may name.
FICTION = frozenset(
    name.strip()
    for name in """
    sherlock holmes, harry potter, peter pan, robin hood, santa claus, alice in wonderland, james bond, jane
    eyre, anna karenina, tom sawyer, huckleberry finn, peter rabbit, jack sparrow, luke skywalker, han solo,
    john doe, jane doe, king arthur, mary poppins, oliver twist, david copperfield, dorian gray, victor
    frankenstein, jack frost, mary jane shoes, virgin mary, saint george, saint nicholas, john dory, jack
    russell terrier, jack russell, martin guitar, charles bridge, charlie brown, winnie the pooh, max headroom,
    victoria sponge, alexander technique
    """.replace("\n", " ").split(",")
)  # fmt: skip
