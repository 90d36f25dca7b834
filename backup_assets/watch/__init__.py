"""Are the promises kept, and who is told when they are not?"""
