#!/bin/sh
# alarm = ["/usr/local/bin/alarm-chat.sh", "/etc/postern-chat-url"]: a message to a chat's incoming webhook.
# The file holds the webhook's URL and is readable for account postern alone: relay.json, with this line, is for all.
url=$(cat "$1") || exit 1
text=$(sed 's/\\/\\\\/g; s/"/\\"/g' | awk '{ printf "%s%s", sep, $0; sep = "\\n" }')
printf '{"text": "%s"}' "$text" |
    curl -fsS --max-time 30 -H 'Content-Type: application/json' --data-binary @- "$url" > /dev/null
