"""Commands in containers of a Docker engine (spec/operators 4.3, 11.2; features F80).

options.py    `docker:` of a task → Options; Options and a Launch → the arguments of the client. Pure
engine.py     the engine, by way of the official SDK, its errors as failures of tasks
client.py     the client program, which builds images and starts containers
images.py     images are there before they are needed: pulled or built once for all tasks that wait for them
claims.py     a file for each container that there may be
container.py  the life of one container, in a thread of its own
output.py     what it prints, in its log
archives.py   directories to and from an engine that doesn't see our files
shared.py     directories for a container that runs as somebody else
executor.py   DockerExecutor: what the engine of dagrun drives
"""
