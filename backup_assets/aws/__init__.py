"""What does AWS have to be told, so that the roles of a backup stay apart?"""
