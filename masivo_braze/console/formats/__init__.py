"""How the admin writes dates and times: as everything that is logged or sent does, sortable and to the second."""
