"""The queue: letters that wait to leave, one entry for each recipient.

`entries` holds the rows and who may work on them, `schedule` decides when (pure), `operations` is what
an administrator does. How a letter leaves is the business of outbound, delivery and the runner.
"""
