#!/bin/sh
# alarm = ["/usr/local/bin/alarm-mail.sh", "ops@provider.example"]: one mail with all that is new.
# It goes out by this relay's own Postfix. Where that is what is broken, the ping or the alert rules tell.
to=$1
{
    printf 'To: %s\nSubject: Postern: %s needs a person\nContent-Type: text/plain; charset=utf-8\n\n' "$to" "$(uname -n)"
    cat
} | "${SENDMAIL:-/usr/sbin/sendmail}" -i "$to"
