# What the examples share: a server, a phone number, az, and a handset that texts. Each `run` sources this file.
#
# Promise: everything that is started here is ended with the example, on Ctrl-C too, and every wait has an end.
# Not here: the webhooks, and what they do with a text.
#
#   run [--once] [TEXT]   --once: end when all is shown, and print as JSON what has become of the text
#   GRIDPOST_URL          use the server that runs there, with its own communication resource and number, and leave nothing
#                         but what the texts have caused; `eval "$(gridpost env)"` sets this and what else is needed

set -euo pipefail

# The comment that opens a file: what it is about.
opening() { sed -n '/^#!/d; /^#/!q; s/^# \{0,1\}//p' "$1"; }

once=
case ${1:-} in
  --once) once=yes; shift ;;
  -*) opening "$0"; opening "${BASH_SOURCE[0]}" | sed -n '/^  /p'; exit 0 ;;
esac
text=${1:-Where is my parcel?}

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
target=${CARGO_TARGET_DIR:-target}
case $target in /*) ;; *) target=$root/$target ;; esac
guest=${GRIDPOST_URL:-}
folder=$(mktemp -d)
patience_seconds=60

say() { printf '%s\n' "$*" >&2; }
fail() { say "$*"; exit 1; }

# --- what runs meanwhile, and how it ends ------------------------------------------------------------------------------

processes=()
endings=()

# Runs a program beside us: what it prints goes to $folder/NAME.log. It ends when we do.
start() {
  local name=$1
  shift
  : >"$folder/$name.log" # Before anybody looks for what an earlier one printed.
  "$@" </dev/null >>"$folder/$name.log" 2>&1 &
  processes+=($!)
}

# Ends one of them early, by its process id.
stop() {
  kill "$1"
  wait "$1" 2>/dev/null || true
}

# A command for the end, before the programs are ended; the last one comes first.
at_the_end() { endings+=("$*"); }

end() {
  local status=$? ending
  trap '' INT TERM HUP
  for ((ending = ${#endings[@]} - 1; ending >= 0; ending--)); do
    eval "${endings[ending]}" || say "could not be undone: ${endings[ending]}"
  done
  if [ ${#processes[@]} -gt 0 ]; then
    kill "${processes[@]}" 2>/dev/null || true
    wait "${processes[@]}" 2>/dev/null || true
  fi
  if [ "$status" != 0 ] && [ "$status" != 130 ]; then tail -n 20 "$folder"/*.log >&2 2>/dev/null || true; fi
  rm -rf "$folder"
  exit "$status"
}
trap end EXIT
trap 'exit 130' INT TERM HUP

# Waits until a command succeeds: `until_it_is "the webhook listens" grep -q listening file`.
until_it_is() {
  local what=$1 deadline=$((SECONDS + patience_seconds))
  shift
  until "$@" 2>"$folder/last-try.log"; do
    ((SECONDS < deadline)) || fail "$patience_seconds s have passed, and it is not so: $what"
    sleep 0.1
  done
}

# --- the tools ---------------------------------------------------------------------------------------------------------

# gridpost: the one on the path, else the one that Cargo built last, else it is built now.
if ! command -v gridpost >/dev/null; then
  built=$(ls -t "$target"/{debug,release}/gridpost 2>/dev/null | head -n 1) || true
  if [ -z "$built" ]; then
    say "building gridpost, which takes a few minutes the first time"
    (cd "$root" && cargo build --quiet --locked --package gridpost)
    built=$target/debug/gridpost
  fi
  PATH=$(dirname "$built"):$PATH
fi

# az: the one that `cargo xtask` installed, else the one on the path. It talks to our server and to nobody else.
if [ -x "$target/xtask/az/bin/az" ]; then
  az() { "$target/xtask/az/bin/az" "$@"; }
elif ! command -v az >/dev/null; then
  fail "az is not installed. Debian, Fedora, macOS, Windows: https://aka.ms/installazurecli
Or let this project install it, into $target only (400 MB): cargo xtask examples"
fi
export AZURE_CORE_COLLECT_TELEMETRY=false AZURE_CORE_SURVEY_MESSAGE=false AZURE_CORE_ONLY_SHOW_ERRORS=true

# A Python that has the packages of a requirements file, in an environment of its own that is made the first time.
python_with() {
  local requirements=$1 environment
  environment=$target/examples/$(basename "$(dirname "$requirements")")
  if ! cmp -s "$requirements" "$environment/installed.txt"; then
    say "installing the Python packages of ${requirements#"$root"/} into $environment"
    python3 -m venv "$environment" >&2
    "$environment/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps -r "$requirements" >&2
    cp "$requirements" "$environment/installed.txt"
  fi
  python=$environment/bin/python
}

# --- the scenario ------------------------------------------------------------------------------------------------------

# A Gridpost server, az signed in to it, and a communication resource that owns a phone number.
open_for_business() {
  if [ -n "$guest" ]; then
    say "- using the server at $guest"
    # The commands find a server by its data folder, GRIDPOST_DATA; both have to speak of one.
    local variables
    variables=$(gridpost env --az) || fail "it is not running, or GRIDPOST_DATA is not its data folder"
    eval "$variables"
    [ "$GRIDPOST_URL" = "$guest" ] || fail "the server of that data folder is at $GRIDPOST_URL: eval \"\$(gridpost env)\" again"
    resource=$GRIDPOST_RESOURCE_ID number=$GRIDPOST_NUMBER
    return
  fi
  say "- a server in an empty folder ($(command -v gridpost)), and az signed in to it"
  start server gridpost serve --listen 127.0.0.1:0 --data "$folder/data" --output json
  until_it_is "the server is ready" grep -q '"ready":true' "$folder/server.log"
  export GRIDPOST_DATA=$folder/data
  local variables
  variables=$(gridpost env --az)
  eval "$variables"

  say "- a communication resource with a phone number"
  number=+15555550177
  az group create --name shop --location local --output none
  resource=$(az resource create --resource-group shop --name shop-messages \
    --resource-type Microsoft.Communication/communicationServices --location global \
    --properties '{"dataLocation": "Europe"}' --query id --output tsv)
  # Numbers are bought in the portal; here one asks for one.
  az rest --method put --url "$GRIDPOST_URL/_gridpost/v1/numbers/$number" \
    --body "{\"resource\": \"$resource\"}" --output none
}

# Subscribes a webhook to the texts and delivery reports of all our numbers of area code 555.
subscribe() {
  local name=$1 webhook=$2
  say "- $webhook hears of texts to phonenumber/1555…"
  az eventgrid event-subscription create --name "$name" \
    --source-resource-id "$resource" \
    --endpoint "$webhook" \
    --included-event-types Microsoft.Communication.SMSReceived Microsoft.Communication.SMSDeliveryReportReceived \
    --subject-begins-with phonenumber/1555 \
    --output none
  if [ -n "$guest" ]; then
    at_the_end az eventgrid event-subscription delete --name "$name" --source-resource-id "$resource"
  fi
}

# A customer's handset texts our number; $event is the id of the event that this causes.
customer_texts() {
  say "- a customer texts $number: $1"
  event=$(gridpost sms receive --from +15555550123 --to "$number" --output json -- "$1" | id_of)
}

# We text a customer, who gets it, which causes a delivery report; $report is the id of its event.
we_text() {
  say "- we text the customer: $1"
  local keys
  keys=$(az rest --method post --url "$resource/listKeys?api-version=2025-09-01" \
    --query primaryConnectionString --output tsv)
  report=$(gridpost sms send --from "$number" --to +15555550123 --report --connection-string "$keys" \
    --output json -- "$1" | id_of)
}

# The event of a text has the id of its message.
id_of() { sed -n 's/.*"messageId": *"\([^"]*\)".*/\1/p'; }

# Goes on until Ctrl-C, and shows what a program that was started prints; not with --once.
stay() {
  [ -z "$once" ] || return 0
  say "
Ctrl-C ends this. Until then, in another terminal:

  $(command -v gridpost) --data '$GRIDPOST_DATA' sms receive --to $number 'Is it blue?'
"
  tail -n +2 -f "$folder/$1.log" &
  processes+=($!)
  wait $!
}
