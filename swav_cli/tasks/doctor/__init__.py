"""What a person checks before a week of a GPU: the machine, the installation, the pictures, a recipe on them.

Each check is a function that looks at one thing and gives a `Check`; what it reads of the system is a parameter, or a
function of its own, so that a test can give it another machine.
"""
