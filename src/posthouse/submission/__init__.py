"""The one door for "a user of ours sends mail": who may send as whom, and what a letter lacks."""
