"""Processes under the control of a Switchyard: started for tasks or by themselves, heard line by line, and steered."""
