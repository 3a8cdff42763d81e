"""How a program of ours reads its command line and how it ends where nobody can read what it prints."""
