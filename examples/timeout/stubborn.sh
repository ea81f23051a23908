# A script that won't listen: it ignores TERM, and its child has left the process group.
trap '' TERM
echo stubborn
python3 -c 'import os, time; os.setsid(); time.sleep(60)' "child-$session_uuid" &
sleep 60
