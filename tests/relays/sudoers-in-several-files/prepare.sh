sed -i '/includedir/d' /etc/sudoers
printf '  @include "/etc/sudoers.local"\n' >> /etc/sudoers
printf '  @includedir "/etc/sudoers.d"\n' > /etc/sudoers.local
chmod 440 /etc/sudoers.local
