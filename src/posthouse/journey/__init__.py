"""The journey: what happened to each letter, recorded with the letter and told in plain words."""
