"""What an alarm sets off: telling somebody, a command, a webhook, retraining, or what a plug-in adds.

An action is carried out once for one change of an alarm's state, whatever crashes in between. Retraining never starts
while somebody may be feeding the model: that is the attack's own path.
"""
