"""How SQL is spoken, whatever the tables: the engine, statements made once, conditions."""
