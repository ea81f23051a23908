# Asks for the day's exchange rate. The "service" doesn't answer the first time.
if [ ! -e asked ]; then
  touch asked
  echo "exchange rates: no answer"
  exit 1
fi
echo "exchange rates: 1 EUR is 164 JPY"
echo '{"yen_per_euro": 164}' > "$DAGRUN_OUT"
