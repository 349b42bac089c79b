"""Local randomizers for blocks of users: what is private in this room is private here."""
