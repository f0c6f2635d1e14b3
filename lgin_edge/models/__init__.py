"""What a model file is: its description, and the kinds of file that carry one."""
