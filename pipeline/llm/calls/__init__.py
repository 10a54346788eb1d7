"""How models of each family write a call of a tool: the forms, and how to read them."""
