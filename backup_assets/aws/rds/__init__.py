"""What does RDS itself back up, and is it proven?"""
