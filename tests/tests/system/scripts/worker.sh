# A complete worker made of curl and sed: claims one job, reports that it runs, runs it, and reports the
# end. Prints "nothing to do" when there is no job.
# BASE is the master's address, NAME the worker's name.
set -euo pipefail

post() {
  curl -sS --fail-with-body -H 'Content-Type: application/json' -d "$2" "$BASE$1"
}

# The value of a field that is a number, or a string without escapes.
field() {
  sed -E "s/.*\"$1\":\"?([^\",}]*).*/\1/" <<< "$2"
}

job=$(post /api/job/claim "\"$NAME\"")
if [ -z "$job" ]; then
  echo "nothing to do"
  exit
fi
id=$(field id "$job")
post /api/job/update "{\"id\": $id, \"status\": \"Running\", \"assignedWorker\": \"$NAME\"}" > /dev/null

code=0
output=$(bash -c "$(field command "$job")" 2> error) || code=$?
status=Completed
[ "$code" = 0 ] || status=Failed
post /api/job/update "{\"id\": $id, \"status\": \"$status\", \"assignedWorker\": \"$NAME\",
  \"exitCode\": $code, \"output\": \"$output\\n\", \"error\": \"$(tr -d '\n' < error)\"}" > /dev/null
echo "job $id: $code"
