"""What an agent is told about the server as a whole: the life cycle, and where the money and the traps are."""

INSTRUCTIONS = """\
Scale AI's data annotation: people label what you send.
Life cycle: create_project (task type, default parameters) → upload_file or import_file, unless the data has URLs → \
create_batch (needed for Rapid) → create_*_task per item (what it leaves out comes from its project or batch) → \
finalize_batch (Rapid and Studio; starts paid work, closes the batch) → get_batch_status until done → list_tasks, \
get_task; large results by get_task_response.
A live key means real, paid work; test keys complete tasks at once with made-up answers. Live and test are separate \
worlds.
Give each task a unique_id (prefix it with the project's name): repeating a create is then safe.
Names are exact. Lists come in pages: go on with next_token or offset. Fix arguments as an error says; nothing was \
sent. Ask the person before finalizing, canceling, or replacing parameters or tags.
"""
