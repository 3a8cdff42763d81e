"""What goes over HTTP: which proxy a call takes, what an answer means, and how long a server asks to wait."""
