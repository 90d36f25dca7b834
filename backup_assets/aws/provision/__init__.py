"""What does AWS need so that it backs up by itself, and how is it brought there without taking anything away?"""
