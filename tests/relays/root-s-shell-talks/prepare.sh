sed -i "1s,:[^:]*$,:/bin/bash," /etc/passwd
cat > /root/.bashrc <<'R'
echo "Welcome to $(hostname), {\"this\": \"is no answer\"}"
echo "Last backup: never" >&2
umask 077
export LC_ALL=de_DE.UTF-8 LANGUAGE=de PYTHONSTARTUP=/nonexistent PYTHONPATH=/tmp TZ=Pacific/Kiritimati
alias python3='echo no'
cd /tmp
R
cp /root/.bashrc /root/.profile
