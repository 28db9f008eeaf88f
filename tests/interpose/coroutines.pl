# Perl embeds Python: loads libpython, then libraries that run Python in their constructors, with the GIL held: the first
# and the last on the thread's own stack, the others on those of coroutines.
use Coro;
use DynaLoader;

sub load {
    my ($library, $global) = @_;
    DynaLoader::dl_load_file($library, $global) or die DynaLoader::dl_error();
    return;
}

my ($python, $first, @others) = @ARGV;
my $last = pop @others;
load($python, 1);
load($first, 0);
for my $library (@others) {
    (async { load($library, 0) })->join;
}
load($last, 0);
