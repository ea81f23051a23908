echo "the table has no column named rwos"
exit 1
