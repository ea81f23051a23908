# Fails twice, then succeeds, like a service that comes back.
echo x >> tries.txt
n=$(wc -l < tries.txt | tr -d ' ')
if [ "$n" -lt 3 ]; then
  echo "try $n: the service is down"
  exit 1
fi
echo "try $n: loaded"
