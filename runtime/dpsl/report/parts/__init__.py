"""The chapters of the page, one file each: what was read and computed → HTML."""
