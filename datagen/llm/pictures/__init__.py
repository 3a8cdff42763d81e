"""Pictures from any server with OpenAI's `/images/generations`: how it is asked, and where what came is kept."""
