"""What does each kind of Dagster's instance add to the common settings, and which launcher does it use?"""
