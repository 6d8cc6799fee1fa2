/* Depth-wise convolution of 3 x 3 with padding 1 and stride s, 1 or 2: x [B, C, H, W], weight [D, 9] -> y [B, D, Ho, Wo].
 *
 * Output channel d sees input channel d / (D / C). All tensors are float32 and contiguous.
 *
 * A padded plane is kept as s * s parts: part (u, v) has the rows u, u + s, ... and of these the columns v, v + s, ...
 * What a tap sees from one output after another then lies side by side, across rows too: one loop for a whole plane, which
 * small maps need as much as large ones. For it, rows of outputs are as wide as those of parts, with gaps between them.
 */

#include <stdlib.h>
#include <string.h>

#include <omp.h>

#define TAPS 9
#define EACH inline __attribute__((always_inline)) /* compiled anew for each constant stride */

typedef struct {
    long C, D, H, W, Ho, Wo;
    long width, part; /* of a row and of all rows of a part */
    long outputs;     /* with gaps, but for the last one */
    long tap[TAPS];   /* what each tap sees from the first output */
} Sizes;

static EACH Sizes sizes_of(long C, long D, long H, long W, long s) {
    Sizes z = {.C = C, .D = D, .H = H, .W = W, .Ho = (H - 1) / s + 1, .Wo = (W - 1) / s + 1};
    z.width = z.Wo + 2 / s;
    z.part = (z.Ho + 2 / s) * z.width;
    z.outputs = (z.Ho - 1) * z.width + z.Wo;
    for (long t = 0; t < TAPS; t++) {
        long ky = t / 3, kx = t % 3;
        z.tap[t] = (ky % s * s + kx % s) * z.part + ky / s * z.width + kx / s;
    }
    return z;
}

/* Row r of a plane in the parts of column v: its number j is the plane's column s j + v - 1. */
static EACH long place(const Sizes *z, long r, long v, long s) {
    return ((r + 1) % s * s + v) * z->part + (r + 1) / s * z->width;
}

/* plane [H, W] -> parts, whose padding is 0 already */
static EACH void into_parts(const Sizes *z, const float *plane, float *parts, long s) {
    for (long r = 0; r < z->H; r++)
        for (long v = 0; v < s; v++) {
            float *to = parts + place(z, r, v, s);
            for (long j = v ? 0 : 1; s * j + v <= z->W; j++) to[j] = plane[r * z->W + s * j + v - 1];
        }
}

/* parts -> plane [H, W] */
static EACH void from_parts(const Sizes *z, const float *parts, float *plane, long s) {
    for (long r = 0; r < z->H; r++)
        for (long v = 0; v < s; v++) {
            const float *from = parts + place(z, r, v, s);
            for (long j = v ? 0 : 1; s * j + v <= z->W; j++) plane[r * z->W + s * j + v - 1] = from[j];
        }
}

static EACH int forward(const float *x, const float *weight, const float *bias, float *y, long B, Sizes z, long s) {
    long in_parts = s * s * z.part, size = in_parts + z.part;
    float *space = calloc(omp_get_max_threads() * size, sizeof(float));
    if (!space) return 0;
#pragma omp parallel for schedule(static)
    for (long task = 0; task < B * z.C; task++) {
        float *parts = space + omp_get_thread_num() * size, *out = parts + in_parts;
        long b = task / z.C;
        long c = task % z.C;
        into_parts(&z, x + task * z.H * z.W, parts, s);
        for (long d = c * (z.D / z.C); d < (c + 1) * (z.D / z.C); d++) {
            const float *w = weight + d * TAPS;
            float shift = bias ? bias[d] : 0.0f, *yd = y + (b * z.D + d) * z.Ho * z.Wo;
#pragma omp simd
            for (long p = 0; p < z.outputs; p++) {
                float sum = shift;
                for (int t = 0; t < TAPS; t++) sum += w[t] * parts[z.tap[t] + p];
                out[p] = sum;
            }
            for (long i = 0; i < z.Ho; i++) memcpy(yd + i * z.Wo, out + i * z.width, z.Wo * sizeof(float));
        }
    }
    free(space);
    return 1;
}

static EACH int backward(const float *x, const float *weight, const float *dy, float *dx, float *dweight, float *dbias,
                         long B, Sizes z, long s) {
    long in_parts = s * s * z.part, size = 2 * in_parts + z.part;
    float *space = calloc(omp_get_max_threads() * size, sizeof(float));
    if (!space) return 0;
    memset(dweight, 0, z.D * TAPS * sizeof(float));
    memset(dbias, 0, z.D * sizeof(float));
#pragma omp parallel for schedule(static)
    for (long c = 0; c < z.C; c++) { /* so that one thread has all pictures to sum over */
        float *parts = space + omp_get_thread_num() * size, *dparts = parts + in_parts, *dout = dparts + in_parts;
        for (long b = 0; b < B; b++) {
            into_parts(&z, x + (b * z.C + c) * z.H * z.W, parts, s);
            memset(dparts, 0, in_parts * sizeof(float));
            for (long d = c * (z.D / z.C); d < (c + 1) * (z.D / z.C); d++) {
                const float *dyd = dy + (b * z.D + d) * z.Ho * z.Wo;
                for (long i = 0; i < z.Ho; i++) memcpy(dout + i * z.width, dyd + i * z.Wo, z.Wo * sizeof(float));
                for (int t = 0; t < TAPS; t++) {
                    const float *seen = parts + z.tap[t];
                    float *dseen = dparts + z.tap[t], w = weight[d * TAPS + t], dw = 0;
#pragma omp simd reduction(+ : dw)
                    for (long p = 0; p < z.outputs; p++) {
                        dseen[p] += w * dout[p];
                        dw += seen[p] * dout[p];
                    }
                    dweight[d * TAPS + t] += dw;
                }
                float sum = 0;
#pragma omp simd reduction(+ : sum)
                for (long p = 0; p < z.outputs; p++) sum += dout[p];
                dbias[d] += sum;
            }
            from_parts(&z, dparts, dx + (b * z.C + c) * z.H * z.W, s);
        }
    }
    free(space);
    return 1;
}

/* bias may be NULL */
int depthwise(const float *x, const float *weight, const float *bias, float *y, long B, long C, long D, long H, long W, long s) {
    return s == 1 ? forward(x, weight, bias, y, B, sizes_of(C, D, H, W, 1), 1)
                  : forward(x, weight, bias, y, B, sizes_of(C, D, H, W, 2), 2);
}

int depthwise_backward(const float *x, const float *weight, const float *dy, float *dx, float *dweight, float *dbias,
                       long B, long C, long D, long H, long W, long s) {
    return s == 1 ? backward(x, weight, dy, dx, dweight, dbias, B, sizes_of(C, D, H, W, 1), 1)
                  : backward(x, weight, dy, dx, dweight, dbias, B, sizes_of(C, D, H, W, 2), 2);
}
