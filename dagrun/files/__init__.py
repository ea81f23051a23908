"""Files that tasks hand on: kept by their contents (features F79).

store.py      FileStore, and which one a setting names
local.py      a folder
remote.py     S3, GCS, Azure and whatever else fsspec speaks
handover.py   from a working directory into the store, and out of it
"""
