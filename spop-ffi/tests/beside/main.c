/* libspop.a and another static Rust library in one program. */
#include <spop.h>
#include <stdio.h>

size_t other_count_words(const char *text);

int main(void)
{
    size_t words = other_count_words(spop_strerror(SPOP_E_FRAME_TOO_BIG));
    printf("beside: %zu words\n", words);
    return words == 6 ? 0 : 1;
}
