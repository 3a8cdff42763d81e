"""The words that the safety check looks for: cues of age, cues of sex, and the ordinary words that look like them.

Data only. Terms are divided by "|"; `*` at the end stands for any ending; "s" may follow any English word of age.
None of this is more graphic than a keyword.
"""

from __future__ import annotations

# Who may be a minor. "girl" and "boy" may mean adults: beside a sexual term, doubt refuses.
AGE = """
child|children|childs|childlike|childish|childhood|kid|kiddo|kiddie|kiddy|kidlet|minor|underage|underaged|
under age|preteen|pre teen|pre-teen|tween|tweenie|teen|teenage|teenager|teenaged|teeny bopper|teenybopper|
teens|adolescent|adolescence|juvenile|toddler|tot|tyke|infant|infantile|baby|babies|newborn|neonate|boy|girl|
gurl|grrl|boi|lil girl|little one|little angel|little princess|pupil|schoolgirl|schoolboy|schoolkid|
schoolchild|schoolchildren|school age|school aged|school uniform|schooler|preschooler|kindergartner|
kindergartener|elementary school|middle school|primary school|grade school|grade schooler|high school|
junior high|secondary school|nursery school|kindergarten|preschool|daycare|day care|sixth form|sixth former|
prepubescent|pubescent|prepubertal|prepuberty|puberty|youngster|youth|lad|lass|lassie|bairn|orphan|daughter|
stepdaughter|granddaughter|stepson|grandson|grandchild|grandchildren|niece|nephew|his son|her son|my son|
their son|our son|young son|and son|little sister|little brother|lil sis|kid sister|kid brother|baby sister|
baby brother|cherub|cherubs|putto|putti|altar boy|choirboy|boy scout|girl scout|cub scout|barely legal|
not legal|below legal age|age of consent|sweet sixteen|sweet 16|flat chested|ageplay|age play|chyld|pediatric|
paediatric|childe|tiny human|young one|wee one
"""
SEXUAL = """
sex|sexual|sexually|sexualized|sexualised|sexualize|sexting|sexy|sexier|sexiest|sexi|secks|seks|nude|nudes|
nudity|nudist|nudists|nudism|naturist|naturists|naturism|nood|noods|nudez|naked|nakedness|nekkid|nekked|sxy|
stripping|strips naked|strip naked|topless|bottomless|undressed|undressing|undresses|disrobed|disrobing|
disrobes|unclothed|unclad|naturel|skinny dipping|skinnydipping|skinny dip|birthday suit|in the buff|nsfw|nsfl|
porn|pron|porno|pornographic|pornography|pornstar|erotic|erotica|erotically|eroticism|hentai|ecchi|ahegao|
futanari|xxx|x rated|r18|r 18|18 plus|19 plus|rule 34|rule34|r34|adult content|barely legal|adult video|
adult film|adult movie|genital|genitals|genitalia|private parts|intimate parts|penis|vagina|vaginal|vulva|
labia|clitoris|pussy|dick|cock|breast|breasts|boob|boobs|tits|titties|tit|nipple|nipples|cleavage|buttocks|
bare bottom|bare bottoms|bare butt|bare ass|nip slip|camel toe|cameltoe|crotch|intercourse|coitus|copulating|
copulation|fornication|blowjob|handjob|oral sex|anal|anus|cum|cumming|cumshot|semen|sperm|ejaculate|
ejaculation|orgasm|orgasmic|orgy|threesome|gangbang|penetration|masturbate|masturbates|masturbating|
masturbation|horny|aroused|arousal|arousing|seductive|seductively|seducing|seduce|seduces|seduction|sultry|
sensual|sensually|alluring|lewd|lewdly|lascivious|lustful|lustfully|lust|salacious|raunchy|risque|smut|smutty|
obscene|indecent|indecently|indecency|lingerie|panties|panty|knickers|undies|underwear|underpants|bra|bras|
negligee|g string|gstring|thong|thongs|fishnets|garter belt|bdsm|bondage|fetish|kinky|dominatrix|dildo|
vibrator|sex toy|sex doll|stripper|strippers|striptease|pole dancing|lap dance|twerking|brothel|prostitute|
prostitutes|prostitution|prostituted|hooker|whore|slut|sluts|slutty|escort service|camgirl|onlyfans|playboy|
penthouse pet|spread legs|legs spread|legs apart|spreading her legs|spreading his legs|fuck|fucked|fucking|
fucks|rape|raped|raping|rapist|rapes|molest|molested|molesting|molester|molestation|groped|groping|fondle|
fondled|fondling|grooming victim|incest|incestuous|deflowered|deflowering|virginity|making love|make love|
makes love|lovemaking|made love|provocative|provocatively|suggestive pose|suggestively|come hither|upskirt|
without clothes|without any clothes|without clothing|without his clothes|without her clothes|
without their clothes|no clothes|no clothing|clothes off|clothes removed|removed clothes|taking off clothes|
takes off clothes|out of her clothes|out of his clothes|lost her clothes|lost his clothes|sans clothes|
sans clothing|not wearing anything|not wearing any clothes|not wearing clothes|wearing nothing|wears nothing|
with nothing on|dressed in nothing|wearing no clothes|wearing no clothing|wearing no pants|
wearing no underwear|wears no clothes|not a stitch|stitch of clothing|fully exposed|exposed body|
exposed chest|exposed genitals|bare chested female|bare breasted|wet t shirt|see through clothes|
see through dress|see through shirt|see through top|transparent clothes|milf|bedroom eyes|sexual abuse|
intimate touching|touched inappropriately|undressing room|clothingless|clotheless|clothesless|nudie|nudies|
buck naked|pantsless|trouserless|bare bottomed|bare buttocked
"""
# Terms that join age and sex by themselves.
BOTH = """
loli|lolis|lolicon|lolita|lolitas|shota|shotas|shotacon|toddlercon|childporn|kiddieporn|kidporn|teenporn|pedo|pedos|
pedophile|pedophiles|pedophilia|pedophilic|paedo|paedophile|paedophiles|paedophilia|jailbait|csam|nymphet|nymphets|
hebephile|ephebophile|pthc|preteen model|kiddie model|child model shoot nn|лоли|лолита|лоликон|шота|педофил*
"""
# What is ordinary with a child alone, but not the two together (dress and manner).
DRESS = """
bikini|bikinis|swimsuit|swimsuits|swimwear|bathing suit|leotard|miniskirt|mini skirt|short skirt|micro skirt|
shirtless|bare chest|barechested|bare chested|thigh highs
"""
MANNER = """
skimpy|revealing|see through|skin tight|bent over|bending over|on all fours|bedroom|on a bed|on the bed|in bed|
on her bed|on his bed|flirty|flirting|flirtatious|tempting|pin up|pinup|curvy|voluptuous|moaning|legs open|open legs|
biting her lip|biting lip|licking lips|arched back
"""
# Two of these three together say "young" where no word of age does.
SMALL = "petite|tiny|very small|undeveloped|underdeveloped|flat chest|small framed|little body|tiny body"
GARB = "pigtails|pigtail|braces|hair ribbons|knee socks|plaid skirt|sailor uniform|school skirt|school desk|pacifier"
MIND = "innocent|naive|very young|too young|so young|extremely young|young looking|youthful|virginal|growing up"

# Other languages, words written with spaces. Marks are folded away before comparison.
AGE_ABROAD = """
niño*|niña*|nene|nena|chico|chica|chicos|chicas|muchach*|menor de edad|menores de edad|menor|menores|adolescente*|
colegial*|quinceañera|infantil|chiquill*|bebé|bebés|enfant|enfants|fillette*|garçon*|garconnet|gamin|gamine|gamins|
gosse*|mineur|mineure|mineurs|mineures|lycéenne*|lycéen|lycéens|collégienne*|collégien*|écolière*|écolier*|ados|
petite fille|jeune fille|nourrisson*|bébé*|mädchen*|maedchen|madchen|kleinkind*|kinder|kindes|kindern|junge|jungen|
jugendlich*|minderjährig*|minderjaehrig*|schülerin*|schueler*|schüler*|schulmädchen|säugling*|baby|knabe*|teenagerin|
bambin*|bimba|ragazzin*|ragazza|ragazzo|ragazze|ragazzi|minorenne|minorenni|adolescenti|neonat*|fanciull*|scolar*|
menina*|menino*|criança*|garota*|garoto*|novinha*|menor de idade|moleque*|meisje*|jongen|jongens|jongetje*|kindje|
kinderen|kleuter*|peuter*|tiener*|minderjarig*|schoolmeisje*|ребен*|ребён*|дети|детей|детям|детск*|девоч*|девчонк*|
мальчик*|мальчиш*|подрост*|школьниц*|школьник*|малолет*|несовершеннолет*|младен*|малыш*|طفل*|أطفال|الطفل*|الأطفال|بنت|
البنت|ولد|الولد|صبي|الصبي|فتاة|الفتاة|قاصر*|القاصر*|مراهق*|المراهق*|رضيع*|तلميذة|تلميذ*|बच्च*|बालक*|बालिका*|लड़की|
लड़का|लड़कियां|लड़के|किशोर*|नाबालिग*|शिशु*|çocu*|cocu*|kız|kızı|küçük kız|oğlan*|bebek*|ergen*|reşit olmayan|ilkokul*|
flicka*|flickor*|pojke*|pojkar*|lapsi|lapset|lapsen|tyttö*|poika|gyerek*|kislány*|kisfiú*|fetiţ*|fetita|copil|copii|
copilul|παιδι*|κοριτσ*|αγορι*|ילד*|anak|gadis kecil|liseli*|dzieck*|dzieci*|dziewczyn*|chłopiec|chłopc*|chłopak*|
nastolat*|nieletni*|małolat*|niemowl*|uczennic*|uczeń
"""
SEXUAL_ABROAD = """
desnud*|sexo|sexual|sexuales|erótic*|porno*|pechos|tetas|coño|pezon*|encuerad*|sin ropa|lencería|en cueros|
nudité|dénud*|déshabill*|sexe|sexuel*|érotique*|seins|sans vêtements|à poil|torse nu|topless|dessous féminins|
nackt*|nakt*|nakt*|entblößt*|entblösst*|entbloesst*|unbekleidet*|ausgezogen*|ohne kleider|ohne kleidung|
erotisch*|sexuell*|busen|brüste|unterwäsche|nuda|nudi|spogliat*|svestit*|senza vestiti|sesso|sessual*|erotic*|
seno nudo|mutandin*|biancheria intima|sem roupa|sem roupas|despid*|nua|nuas|seios|peitos|calcinha|naakt*|
blote|bloot|zonder kleren|seks|seksueel|seksuele|seksi|borsten|ondergoed|uitgekleed*|голая|голый|голые|голое|
голую|голого|голой|голым|голых|голышом|нагая|нагой|нагие|нагую|обнажен*|обнажён*|раздет*|без одежды|секс*|
порно*|эротич*|эротик*|интим*|عار|عاري*|عارية|العارية|عراة|جنس*|الجنس|جنسي*|إباحي*|بدون ملابس|بلا ملابس|नंगा|
नंगी|नंगे|नग्न*|सेक्स*|यौन*|अश्लील*|कामुक*|पोर्न*|बिना कपड़ों|बिना कपड़े|बिना कपड़ो|çıplak*|cıplak*|ciplak*|
üstsüz*|soyun*|müstehcen*|erotik*|cinsel*|iç çamaşırı|iç çamaşırlı|nagiej|nagich|nagiego|golas*|rozebran*|
nøgen*|naken|nakna|naket|alaston|alasto*|meztelen*|goală|γυμν*|ערום*|עירו*|telanjang|bugil|
bez ubrań|bez ubrania|seksown*|seksualn*|erotyczn*|bieliźnie|bielizn*
"""
# Found anywhere in a text: scripts without spaces, or with endings glued to the word.
AGE_ANYWHERE = """
儿童|兒童|孩子|小孩|孩童|男孩|女孩|少女|少年|未成年|幼女|幼童|幼儿|幼兒|婴儿|嬰兒|萝莉|蘿莉|
正太|小学生|小學生|初中生|中学生|中學生|高中生|女学生|子供|子ども|こども|幼児|赤ちゃん|赤ん坊|
女の子|男の子|女児|男児|女子高生|女子中学生|園児|児童|(?<!カ)ロリ(?!ポ|ー)|ショタ|女子小学生|
아이|어린이|소녀|소년|아동|유아|아기|미성년|초등학생|중학생|고등학생|여고생|여중생|꼬마|청소년
"""
SEXUAL_ANYWHERE = """
裸(?!足|眼|電|电)|脱光|没穿衣服|不穿衣服|色情|性感|性爱|性愛|性交|性行为|情色|淫|乳房|胸部|
内衣|內衣|ヌード|はだか|(?<!イ)エロ(?!ー)|セクシー|ポルノ|
(?<![男女个個理感知母父雄雌中人野急能])性的|下着|おっぱい|パンツ|ランジェリー|水着姿|벌거벗|발가벗|
헐벗|옷을 ?벗|나체|알몸|누드|야한|섹시|섹스|포르노|에로틱|성관계|속옷|음란
"""
BOTH_ANYWHERE = "儿童色情|兒童色情|児童ポルノ|아동포르노|ロリコン|ショタコン|로리콘|쇼타콘"
# Words that are common in English too: they count only together with a sexual word of their own language.
PAIRED = {
    "kind|kindern": "nackt*|naakt*|bloot|blote|entblöß*|unbekleidet*|ausgezogen*|sexuell*|erotisch*|seks*",
    "hijo|hija|hijos|hijas": "desnud*|erótic*",
    "fille|filles|ado": "nu|nue|nus|nues|dénud*|déshabill*|sexe|érotique*",
    "nu|nue|nus|nues": "enfant*|fillette*|garçon*|gamin|gamine|mineur*|bébé*|lycéen*|collégien*|écoli*|ados",
    "filha|filho": "nua|nuas|nu|pelad*",
    "pelada|pelado|nu": "menin*|criança*|garot*|novinha*|moleque*",
    "figlia|figlio": "nuda|nudo|spogliat*",
    "nudo": "bambin*|ragazz*|minorenn*|fanciull*|neonat*",
    "barn|barnet|børn": "nøgen*|naken|nakna|naket|alaston",
    "nahé|nahá|nahý": "dítě*|děti|holčičk*|chlapec*|chlapci|dívk*",
    "naga|nagi|nagie|nago|goła|goły|gołe": "dzieck*|dzieci*|dziewczyn*|chłop*|nastolat*|nieletni*|uczennic*",
}

# Ordinary phrases that hold a term; they are read as if they were not there.
BENIGN = (
    r"stripped bare (?:by|of) (?:the )?(?:winter|winds?|autumn|frost|storms?|locusts|goats|deer|leaves|"
    r"furniture|paint|wallpaper|bark)|"
    r"naked eyes?|naked mole rats?|naked flames?|naked cakes?|naked truth|naked trees?|naked branch(?:es)?|"
    r"pussy willows?|pussy ?cats?|sperm whales?|"
    r"(?:chicken|turkey|duck|roast|grilled|robin s red) breasts?|breast ?(?:feeding|fed|feed|feeds|milk|pump|cancer|"
    r"pocket|strokes?|plates?)|red breasts?|(?:ursa|canis|leo|asia) minor|"
    r"minor (?:keys?|chords?|scales?|leagues?|arcana|scratch|scratches|details?|damage|repairs?|planets?|roads?|"
    r"imperfections?|adjustments?|changes?|wounds?|injury|injuries|basilica|third|seventh)|"
    r"(?:blue|coal|marsh|willow|crested|long tailed|bearded) tits?|moby dick|dick (?:tracy|whittington|van dyke)|"
    r"weather ?cocks?|cock crow\w*|cock (?:a doodle|robin|of the rock)|(?:magna |summa )?cum laude|"
    r"stripping (?:paint|wallpaper|bark|leaves|wood|furniture|wire|wires|varnish)|"
    r"oilseed rape|rape seed|"
    r"same sex (?:couples?|parents?|famil(?:y|ies)|marriages?|wedding)|(?:opposite|single|either|both) sex|"
    r"baby (?:blue|pink|grand|s breath|oil|powder|bump|carrots?|corn|spinach)|kid (?:gloves?|leather)|"
    r"captain underpants|"
    r"see through (?:the )?(?:windows?|glass|fog|umbrellas?|curtains?|vases?|bags?|water|mist|pods?)|"
    r"(?<!in )(?<!wearing )nothing on (?:the|a|tv|top)|clothes off the (?:line|rack|pegs?)|"
    r"nude (?:lipsticks?|nail polish)|"
    r"nude (?:colou?r(?:ed|s)?|tones?|toned|shades?|palettes?)|"
    r"naked (?:juggling |wooden |light |brick |clay |steel |concrete )?(?:balls?|puppets?|bulbs?|lightbulbs?|bricks?|"
    r"walls?|"
    r"wood|blades?|swords?|rocks?|soil|earth|ground|hills?|hillsides?|mountains?|singularit(?:y|ies)|canvas|plaster|concrete|"
    r"neck|cables?|wires?|metal|iron|ceilings?|beams?|planks?)(?! (?:boys?|girls?|child\w*|kids?))"
)
# Gothic lolita is a Japanese fashion for adults: then the word is one of age only.
LOLITA_FASHION = r"(?:gothic|goth|sweet|classic) lolitas?|lolita (?:fashion|dress|dresses|style|outfits?|clothing)"

# Ordinary words that a reading of spelling tricks would take for a term.
ORDINARY = frozenset(
    """
    rapped rapping nicest seeks kidd kidman homosexuality annals annal brass brasses therapist therapists cumin
    trail trial canal analog assess asses classes congenital denude denuded denudes homosexual homosexuals
    bisexual bisexuals heterosexual transsexual asexual pansexual intersex unisex essex sussex wessex middlesex
    sextant sextants sextet sexton sextuplet sextuplets rothschild fairchild infantry infantryman infantrymen
    infanta kidney kidneys kidnap kidnapped popcorn acorn neurotic aerobic button buttons butter butterfly
    cocktail cocktails peacock peacocks cockpit cockatoo cockatiel hancock babcock woodcock shuttlecock dickens
    dickinson scunthorpe pencil pencils peninsula document documents circumference cucumber cucumbers accumulate
    succumb titan titans titanic titanium title titled subtitle dustbin manchild girlfriend girlfriends
    boyfriend boyfriends cowgirl cowgirls showgirl cowboy cowboys playboy boycott boysenberry babysitter babylon
    babylonian teenth canteen velveteen bandit grape grapes draped drapes scrape scraped trapeze parapet
    analysis analyst analysts shirt shirts toot toots tootsie snoot lolly lollies lollipop lollipops shot shots
    laden lads glass class pass mass lasso lassos
    """.split()
)
# Neighbours that spell a term when joined, and mean nothing by it.
NEIGHBOURS = frozenset(
    "pen is|the rapist|the rapists|strip per|strip pers|men or|min or|put to|put ti|steps on|in decent|only fans|"
    "play boy|love making|bond age|hook er|kind er|kind es".split("|")
)
# Short words that stick to terms where words run together.
GLUE = frozenset(
    """
    a an the of with in on at and by for my his her their very so is are who that this some little lil small young
    cute pretty beautiful hot real big tiny old new picture pictures photo photos pic pics image images art drawing
    painting portrait video anime style woman man lady women men beach pool bed bath room school class street park
    home forest year years old posing pose standing sitting lying smiling body skin full fully totally completely
    taken by high quality realistic from she he student couple cartoon character model doll long hair
    """.split()
)
# Long enough to be recognised inside any longer word (unless that word is ordinary).
SEXUAL_STEMS = (
    "naked|nudity|nudist|porn|hentai|erotic|masturb|lingerie|topless|genital|sexual|undress|orgasm|blowjob|striptease|"
    "underwear|panties|vagina|nsfw"
)
AGE_STEMS = "child|toddler|schoolgirl|schoolboy|preteen|teenage|underage|prepubesc|kindergart|pubescent"
BOTH_STEMS = "lolicon|shotacon|jailbait|pedophil|paedophil|childporn|lolita"
# Words that ages are expressed in.
AGE_WORDS = """
zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen
eighteen year years yr yrs old olds yo aged age ages young month months week weeks day days grade grades grader graders
form birthday under below younger first second third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth
fourteenth fifteenth sixteenth seventeenth looks just only turned turning barely of than the not yet and half th k
"""
# In a negative prompt: what is left when these are taken away.
UNDRESSES = "clothes|clothed|clothing|dressed|garment|garments|attire|fully clothed|clad|apparel"
UNAGES = "adult|adults|grown up|grown ups|grownup|mature|over 18|of age|legal age|grown woman|grown man|adulthood"
