/*
 * Weights of 4 bits for aot_dsp_matrix.h: unpacked to the stream that it reads, some channels at a time.
 *
 * A weight w in [-7, 7] is stored as w + 8. A word holds eight weights of a channel, their lower four in the lower
 * halves of its bytes, the others in the upper halves; words of two channels stand beside each other. Four such halves
 * less 8 each, as two halfwords, are the word (256 w1 + w0, 256 w3 + w2) of a stream. Biases before and multipliers
 * behind the weights of a pair of channels are as they are there.
 */
#ifndef AOT_DSP_NIBBLE_H
#define AOT_DSP_NIBBLE_H

#include "aot_dsp_matrix.h"

/* Four weights from the lower halves of four bytes. */
AOT_INLINE uint32_t aot_nibble_word(uint32_t word)
{
    word &= 0x0F0F0F0Fu;
#if AOT_ARM_DSP
    uint32_t result;
    __asm__("ssub16 %0, %1, %2" : "=r"(result) : "r"(word), "r"(0x08080808u));
    return result;
#else
    return ((word - 0x0808u) & 0xFFFFu) | (((word >> 16) - 0x0808u) << 16);
#endif
}

/* The stream of so many pairs of channels, whose sums have so many blocks of four; answers where the packed one goes on. */
AOT_FUNCTION const uint32_t *aot_nibble_stream(uint32_t *stream, const uint32_t *packed, int32_t pairs, int32_t blocks)
{
    for (int32_t pair = 0; pair < pairs; ++pair) {
        *stream++ = *packed++;
        *stream++ = *packed++;
        for (int32_t i = 0; i < blocks / 2; ++i) {
            const uint32_t first = *packed++;
            const uint32_t second = *packed++;
            stream[0] = aot_nibble_word(first);
            stream[1] = aot_nibble_word(second);
            stream[2] = aot_nibble_word(first >> 4);
            stream[3] = aot_nibble_word(second >> 4);
            stream += 4;
        }
        if (blocks % 2 != 0) {
            *stream++ = aot_nibble_word(*packed++);
            *stream++ = aot_nibble_word(*packed++);
        }
        *stream++ = *packed++;
        *stream++ = *packed++;
    }
    return packed;
}

#endif
