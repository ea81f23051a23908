# Tell that $1 is here, and wait for $2.
touch "$1.here"
until [ -e "$2.here" ]; do sleep 0.02; done
echo "$1 met $2"
