"""How is a file made readable by the holders of some keys only, and readable again?"""
