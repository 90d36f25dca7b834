"""What does AWS have to be told, and what does it back up by itself?"""
