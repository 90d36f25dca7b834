"""The settings around the databases, written down every day: what was it before somebody changed it?"""
