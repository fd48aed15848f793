"""How odd a row is: against its neighbours, against its columns, and against what networks expect."""
