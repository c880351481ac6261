"""The whole of Recast in a few hundred lines of plain Python, and the state machine that holds the three
services against it.

`world` is what there is and what each request must answer; `works` what an accepted request comes to (with
`work`, `touch`, `server_works` and `backup_works`); `conversation` asks the services and the model; `seen` is
the values of their lists; `machine` draws numbers, of which `requests` makes requests; `running` runs it all.
"""
