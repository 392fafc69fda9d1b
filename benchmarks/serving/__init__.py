"""What a served model does: how fast it answers, beside what its trunk can do; what it stands; what
it never loses.
"""
