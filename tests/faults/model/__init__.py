"""The whole of Recast in a few hundred lines of plain Python, and the state machine that holds the three
services against it.

`world` is what there is and what each request must answer; `works` what an accepted request comes to; `seen`
how the services' lists look beside the model; `machine` draws the requests.
"""
