"""What RDS and AWS Backup tell of their own accord: did a snapshot, a copy or a job fail?"""
