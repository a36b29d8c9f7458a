/* Prints this core's clock in GHz: a chain of additions takes one cycle each. The best of some tries. */
#include <stdio.h>
#include <time.h>

int main(void) {
    double best = 0;
    for (int tries = 0; tries < 200; tries++) {
        struct timespec begin, end;
        unsigned long value = 0;
        clock_gettime(CLOCK_MONOTONIC, &begin);
        for (int round = 0; round < 100000; round++)
            __asm__ volatile("add $1, %0; add $1, %0; add $1, %0; add $1, %0; add $1, %0; add $1, %0; add $1, %0; add $1, %0" : "+r"(value));
        clock_gettime(CLOCK_MONOTONIC, &end);
        double ns = (end.tv_sec - begin.tv_sec) * 1e9 + (end.tv_nsec - begin.tv_nsec);
        best = value / ns > best ? value / ns : best;
    }
    printf("%f\n", best);
}
