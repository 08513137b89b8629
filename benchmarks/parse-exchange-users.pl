# What the recipe describes, written down straightforwardly: split on tab, split on %, hash, sort.
# perl parse-exchange-users.pl DOMAIN... < exchusers.txt
use strict;
use warnings;

my %domain = map { lc($_) => 1 } @ARGV;
my %recipient;

<STDIN>;    # the header
while (my $row = <STDIN>) {
    $row =~ s/\r?\n$//;
    my ($class, $primary, $secondary) = split /\t/, $row;
    for my $value (split(/%/, $primary // ""), split(/%/, $secondary // "")) {
        next unless $value =~ /^smtp:(.+)@(.+)$/i;
        next unless $domain{lc $2};
        $recipient{lc "$1\@$2"} = 1;
    }
}
print "$_ OK\n" for sort keys %recipient;
