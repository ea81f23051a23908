echo "loading $shop"
echo "{\"loaded\": \"$shop\"}" > "$DAGRUN_OUT"
