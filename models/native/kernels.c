/* Fast versions of what is slow in Paddle on a CPU. All tensors are float32 and contiguous, a mask is of bytes.
 *
 * Each loop is divided among threads in equal parts: bits depend on the number of threads, but on nothing else.
 * Functions for Python, those that are not static, return 1, or 0 if there is no memory to work in.
 */

#include <float.h>
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <omp.h>

#ifdef __AVX512F__
#define LANES 16
#else
#define LANES 8
#endif
#define ROWS 4 /* queries that a thread works on at once: their sums stay in registers */
#define PIXELS 128 /* of a map that a thread normalises at once: it comes back to them while they are in its cache */
#define EACH inline __attribute__((always_inline)) /* compiled anew for each constant width */

typedef float lanes __attribute__((vector_size(4 * LANES), aligned(4), may_alias));

long lanes_of_this_cpu(void) { return LANES; }

#define LOAD(pointer) (*(const lanes *)(pointer))
#define STORE(pointer, value) (*(lanes *)(pointer) = (value))
#define IN_REGISTER(vector) __asm__("" : "+v"(vector)) /* or each use would load it again */

/* e^x for x <= 0; 0 below -87, where float32 ends. The series is exact to rounding within half of ln 2. */
static inline float exp_negative(float x) {
    float n = rintf(x * 1.44269504f);
    float r = fmaf(n, -1.42860677e-6f, fmaf(n, -0.693145752f, x)); /* x - n ln 2, which has two parts */
    float e = 1.98412698e-4f;
    e = e * r + 1.38888889e-3f;
    e = e * r + 8.33333333e-3f;
    e = e * r + 4.16666667e-2f;
    e = e * r + 1.66666667e-1f;
    e = e * r + 0.5f;
    e = e * r + 1.0f;
    e = e * r + 1.0f;
    union { int32_t bits; float value; } power = {.bits = ((int32_t)(n > -126.0f ? n : -126.0f) + 127) << 23};
    return x < -87.0f ? 0.0f : e * power.value;
}

/* The normal distribution's share below x, and its density there. The tail is the density times a series in
 * 1 / (1 + 0.3 |x|), fitted to a relative error of 1.5e-7. */
static inline void normal(float x, float *share, float *density) {
    float a = fabsf(x), t = 1.0f / (1.0f + 0.3f * a), bell = exp_negative(-0.5f * a * a);
    float s = 0.0356755197f;
    s = s * t + -0.157206269f;
    s = s * t + 0.206359124f;
    s = s * t + -0.0536889206f;
    s = s * t + 0.128564468f;
    s = s * t + 0.0999126178f;
    s = s * t + 0.120754098f;
    s = s * t + 0.119629289f;
    float tail = bell * s * t;
    *share = x < 0.0f ? tail : 1.0f - tail;
    *density = 0.39894228f * bell;
}

int gelu(const float *x, float *y, long n) {
#pragma omp parallel for simd schedule(static)
    for (long i = 0; i < n; i++) {
        float share, density;
        normal(x[i], &share, &density);
        y[i] = x[i] * share;
    }
    return 1;
}

/* y again, and dx = dy (share + x density) */
int gelu_backward(const float *x, const float *dy, float *y, float *dx, long n) {
#pragma omp parallel for simd schedule(static)
    for (long i = 0; i < n; i++) {
        float share, density;
        normal(x[i], &share, &density);
        y[i] = x[i] * share;
        dx[i] = dy[i] * (share + x[i] * density);
    }
    return 1;
}

/* x [rows, n] += row [n] */
int add_row(float *x, const float *row, long rows, long n) {
#pragma omp parallel for schedule(static)
    for (long i = 0; i < rows; i++)
#pragma omp simd
        for (long j = 0; j < n; j++) x[i * n + j] += row[j];
    return 1;
}

static inline void moments(const float *x, long C, float epsilon, float *mean, float *inverse) {
    float sum = 0, squares = 0;
#pragma omp simd reduction(+ : sum)
    for (long c = 0; c < C; c++) sum += x[c];
    float middle = sum / C;
#pragma omp simd reduction(+ : squares)
    for (long c = 0; c < C; c++) squares += (x[c] - middle) * (x[c] - middle);
    *mean = middle;
    *inverse = 1.0f / sqrtf(squares / C + epsilon);
}

/* y [rows, C] = weight x^ + bias, x^ being x with mean 0 and variance 1 in each row */
int layer_norm(const float *x, const float *weight, const float *bias, float *y, long rows, long C, float epsilon) {
#pragma omp parallel for schedule(static)
    for (long i = 0; i < rows; i++) {
        float mean, inverse;
        moments(x + i * C, C, epsilon, &mean, &inverse);
#pragma omp simd
        for (long c = 0; c < C; c++) y[i * C + c] = (x[i * C + c] - mean) * inverse * weight[c] + bias[c];
    }
    return 1;
}

/* Add what each thread has summed up: parts [threads, n] -> sum [n] */
static void add_parts(const float *parts, long threads, float *sum, long n) {
    memcpy(sum, parts, n * sizeof(float));
    for (long t = 1; t < threads; t++)
        for (long i = 0; i < n; i++) sum[i] += parts[t * n + i];
}

/* dx = (w dy - mean(w dy) - x^ mean(w dy x^)) / s, dweight = sum(dy x^), dbias = sum(dy) */
int layer_norm_backward(const float *x, const float *weight, const float *dy, float *dx, float *dweight, float *dbias,
                        long rows, long C, float epsilon) {
    long threads = omp_get_max_threads();
    float *sums = calloc(2 * threads * C, sizeof(float));
    if (!sums) return 0;
#pragma omp parallel num_threads(threads)
    {
        float *dw = sums + omp_get_thread_num() * C, *db = dw + threads * C;
#pragma omp for schedule(static)
        for (long i = 0; i < rows; i++) {
            const float *xi = x + i * C, *dyi = dy + i * C;
            float mean, inverse, level = 0, slope = 0;
            moments(xi, C, epsilon, &mean, &inverse);
#pragma omp simd reduction(+ : level, slope)
            for (long c = 0; c < C; c++) {
                float normalised = (xi[c] - mean) * inverse, a = weight[c] * dyi[c];
                level += a;
                slope += a * normalised;
                dw[c] += dyi[c] * normalised;
                db[c] += dyi[c];
            }
            level /= C;
            slope /= C;
#pragma omp simd
            for (long c = 0; c < C; c++)
                dx[i * C + c] = (weight[c] * dyi[c] - level - (xi[c] - mean) * inverse * slope) * inverse;
        }
    }
    add_parts(sums, threads, dweight, C);
    add_parts(sums + threads * C, threads, dbias, C);
    free(sums);
    return 1;
}

/* Mean and 1 / deviation of n neighbouring pixels, each over C channels, which lie P floats apart. */
static void moments_of_pixels(const float *x, long C, long P, long n, float epsilon, float *mean, float *inverse) {
    memset(mean, 0, n * sizeof(float));
    memset(inverse, 0, n * sizeof(float));
    for (long c = 0; c < C; c++)
#pragma omp simd
        for (long j = 0; j < n; j++) mean[j] += x[c * P + j];
    for (long j = 0; j < n; j++) mean[j] /= C;
    for (long c = 0; c < C; c++)
#pragma omp simd
        for (long j = 0; j < n; j++) inverse[j] += (x[c * P + j] - mean[j]) * (x[c * P + j] - mean[j]);
    for (long j = 0; j < n; j++) inverse[j] = 1.0f / sqrtf(inverse[j] / C + epsilon);
}

/* layer_norm of maps, pixel by pixel: x and y [B, C, P] */
int layer_norm_2d(const float *x, const float *weight, const float *bias, float *y, long B, long C, long P, float epsilon) {
#pragma omp parallel for schedule(static) collapse(2)
    for (long b = 0; b < B; b++)
        for (long first = 0; first < P; first += PIXELS) {
            long start = b * C * P + first, n = P - first < PIXELS ? P - first : PIXELS;
            float mean[PIXELS], inverse[PIXELS];
            moments_of_pixels(x + start, C, P, n, epsilon, mean, inverse);
            for (long c = 0; c < C; c++) {
                const float *xc = x + start + c * P;
                float *yc = y + start + c * P;
#pragma omp simd
                for (long j = 0; j < n; j++) yc[j] = (xc[j] - mean[j]) * inverse[j] * weight[c] + bias[c];
            }
        }
    return 1;
}

/* layer_norm_backward of maps */
int layer_norm_2d_backward(const float *x, const float *weight, const float *dy, float *dx, float *dweight, float *dbias,
                           long B, long C, long P, float epsilon) {
    long threads = omp_get_max_threads();
    float *sums = calloc(2 * threads * C, sizeof(float));
    if (!sums) return 0;
#pragma omp parallel for schedule(static) collapse(2) num_threads(threads)
    for (long b = 0; b < B; b++)
        for (long first = 0; first < P; first += PIXELS) {
            long start = b * C * P + first, n = P - first < PIXELS ? P - first : PIXELS;
            float *dw = sums + omp_get_thread_num() * C, *db = dw + threads * C;
            float mean[PIXELS], inverse[PIXELS], level[PIXELS] = {0}, slope[PIXELS] = {0};
            moments_of_pixels(x + start, C, P, n, epsilon, mean, inverse);
            for (long c = 0; c < C; c++) {
                const float *xc = x + start + c * P, *dyc = dy + start + c * P;
                float dwc = 0, dbc = 0;
#pragma omp simd reduction(+ : dwc, dbc)
                for (long j = 0; j < n; j++) {
                    float a = dyc[j] * (xc[j] - mean[j]) * inverse[j];
                    level[j] += weight[c] * dyc[j];
                    slope[j] += weight[c] * a;
                    dwc += a;
                    dbc += dyc[j];
                }
                dw[c] += dwc;
                db[c] += dbc;
            }
            for (long c = 0; c < C; c++) {
                const float *xc = x + start + c * P, *dyc = dy + start + c * P;
                float *dxc = dx + start + c * P;
#pragma omp simd
                for (long j = 0; j < n; j++) {
                    float normalised = (xc[j] - mean[j]) * inverse[j];
                    dxc[j] = (weight[c] * dyc[j] - (level[j] + normalised * slope[j]) / C) * inverse[j];
                }
            }
        }
    add_parts(sums, threads, dweight, C);
    add_parts(sums + threads * C, threads, dbias, C);
    free(sums);
    return 1;
}

/* Attention in each of S sequences of N positions, by heads of D channels. D is a multiple of LANES.
 *
 * qkv [S, N, 3, heads, D]; bias [heads, N, N] or NULL; mask [windows, N, N], of window s % windows
 * for sequence s, or NULL. The first Q positions attend: y [S, Q, heads, D]. Weights exist for ROWS queries at a time only.
 */
typedef struct {
    const float *qkv, *bias;
    const uint8_t *mask;
    long S, windows, N, Q, heads, D;
    float scale;
} Attention;

/* N rounded up to whole vectors: what lies beyond N has weight 0 */
static long padded(long N) { return (N + LANES - 1) / LANES * LANES; }

/* rows [N, stride], of which D are used -> columns [D, P], 0 beyond N */
static void transpose(const float *rows, long stride, long N, long D, long P, float *columns) {
    for (long d = 0; d < D; d++) {
        for (long j = 0; j < N; j++) columns[d * P + j] = rows[j * stride + d];
        for (long j = N; j < P; j++) columns[d * P + j] = 0;
    }
}

static EACH void products_in(const float *const *left, const float *columns, long D, long P, float *out, long width) {
    lanes sum[ROWS][4];
    for (long r = 0; r < ROWS; r++)
        for (long w = 0; w < width; w++) sum[r][w] = (lanes){0};
    for (long d = 0; d < D; d++) {
        lanes column[4];
        for (long w = 0; w < width; w++) {
            column[w] = LOAD(columns + d * P + w * LANES);
            IN_REGISTER(column[w]);
        }
        for (long r = 0; r < ROWS; r++) {
            lanes factor = left[r][d] - (lanes){0};
            IN_REGISTER(factor);
            for (long w = 0; w < width; w++) sum[r][w] += factor * column[w];
        }
    }
    for (long r = 0; r < ROWS; r++)
        for (long w = 0; w < width; w++) STORE(out + r * P + w * LANES, sum[r][w]);
}

/* out [ROWS, P] = left [ROWS, D] columns [D, P] */
static void products(const float *const *left, const float *columns, long D, long P, float *out) {
    long j = 0;
    for (; j + 4 * LANES <= P; j += 4 * LANES) products_in(left, columns + j, D, P, out + j, 4);
    for (; j + 2 * LANES <= P; j += 2 * LANES) products_in(left, columns + j, D, P, out + j, 2);
    for (; j < P; j += LANES) products_in(left, columns + j, D, P, out + j, 1);
}

static EACH void mixture_in(const float *weights, long row, long column, const float *rows, long stride, long N,
                            float scale, float *const *out, long d, long width) {
    lanes sum[ROWS][2];
    for (long r = 0; r < ROWS; r++)
        for (long w = 0; w < width; w++) sum[r][w] = (lanes){0};
    for (long j = 0; j < N; j++) {
        lanes each[2];
        for (long w = 0; w < width; w++) {
            each[w] = LOAD(rows + j * stride + d + w * LANES);
            IN_REGISTER(each[w]);
        }
        for (long r = 0; r < ROWS; r++) {
            lanes weight = weights[r * row + j * column] - (lanes){0};
            IN_REGISTER(weight);
            for (long w = 0; w < width; w++) sum[r][w] += weight * each[w];
        }
    }
    for (long r = 0; r < ROWS; r++)
        for (long w = 0; w < width; w++) STORE(out[r] + d + w * LANES, scale * sum[r][w]);
}

/* out [ROWS, D] = scale weights [ROWS, N] rows [N, D]; weights have steps from row to row and from column to column */
static void mixture(const float *weights, long row, long column, const float *rows, long stride, long N, long D,
                    float scale, float *const *out) {
    long d = 0;
    for (; d + 2 * LANES <= D; d += 2 * LANES) mixture_in(weights, row, column, rows, stride, N, scale, out, d, 2);
    for (; d < D; d += LANES) mixture_in(weights, row, column, rows, stride, N, scale, out, d, 1);
}

/* Softmax of scale logits [P] + bias [N] where the mask [N] is true; 0 beyond N. */
static void softmax(float *p, long N, long P, float scale, const float *bias, const uint8_t *mask) {
    float most = -INFINITY, sum = 0;
#pragma omp simd
    for (long j = 0; j < N; j++) p[j] = p[j] * scale + (bias ? bias[j] : 0.0f);
    if (mask)
        for (long j = 0; j < N; j++) p[j] = mask[j] ? p[j] : -FLT_MAX;
    for (long j = N; j < P; j++) p[j] = -INFINITY;
#pragma omp simd reduction(max : most)
    for (long j = 0; j < P; j++) most = p[j] > most ? p[j] : most;
#pragma omp simd reduction(+ : sum)
    for (long j = 0; j < P; j++) sum += p[j] = exp_negative(p[j] - most);
    float share = 1.0f / sum;
#pragma omp simd
    for (long j = 0; j < P; j++) p[j] *= share;
}

/* dp = p (dp - sum(p dp)), and 0 where the mask is false */
static void softmax_backward(const float *p, float *dp, long N, long P, const uint8_t *mask) {
    float mean = 0;
#pragma omp simd reduction(+ : mean)
    for (long j = 0; j < P; j++) mean += p[j] * dp[j];
#pragma omp simd
    for (long j = 0; j < P; j++) dp[j] = p[j] * (dp[j] - mean);
    if (mask)
        for (long j = 0; j < N; j++) dp[j] = mask[j] ? dp[j] : 0;
}

static void add(const float *x, float *sum, long N) {
#pragma omp simd
    for (long j = 0; j < N; j++) sum[j] += x[j];
}

/* One head of one sequence: its q, k, v, bias and mask. */
typedef struct {
    const float *q, *k, *v, *bias;
    const uint8_t *mask;
    long stride; /* from one position to the next in qkv */
} Head;

static Head head_of(const Attention *a, long s, long h) {
    long C = a->heads * a->D, pairs = a->N * a->N;
    const float *q = a->qkv + s * a->N * 3 * C + h * a->D;
    return (Head){.q = q, .k = q + C, .v = q + 2 * C, .stride = 3 * C,
                  .bias = a->bias ? a->bias + h * pairs : NULL,
                  .mask = a->mask ? a->mask + s % a->windows * pairs : NULL};
}

/* Attention weights p [ROWS, P] of the queries i ... i + ROWS; those beyond the last query repeat it. */
static void weights_of(const Attention *a, const Head *head, const float *keys, long i, long P, const float **q, float *p) {
    for (long r = 0; r < ROWS; r++) q[r] = head->q + (i + r < a->Q ? i + r : a->Q - 1) * head->stride;
    products(q, keys, a->D, P, p);
    for (long r = 0; r < ROWS && i + r < a->Q; r++) {
        long row = (i + r) * a->N;
        softmax(p + r * P, a->N, P, a->scale, head->bias ? head->bias + row : NULL, head->mask ? head->mask + row : NULL);
    }
}

int attend(const float *qkv, const float *bias, const uint8_t *mask, float *y, long S, long windows, long N, long Q,
           long heads, long D, float scale) {
    Attention a = {qkv, bias, mask, S, windows, N, Q, heads, D, scale};
    long P = padded(N);
    long C = heads * D, size = (D + ROWS) * P + D;
    float *space = malloc(omp_get_max_threads() * size * sizeof(float));
    if (!space) return 0;
#pragma omp parallel for schedule(static)
    for (long task = 0; task < S * heads; task++) {
        long s = task / heads, h = task % heads;
        float *keys = space + omp_get_thread_num() * size, *p = keys + D * P, *unused = p + ROWS * P;
        Head head = head_of(&a, s, h);
        transpose(head.k, head.stride, N, D, P, keys);
        for (long i = 0; i < Q; i += ROWS) {
            const float *q[ROWS];
            float *row[ROWS];
            weights_of(&a, &head, keys, i, P, q, p);
            for (long r = 0; r < ROWS; r++) row[r] = i + r < Q ? y + (s * Q + i + r) * C + h * D : unused;
            mixture(p, P, 1, head.v, head.stride, N, D, 1.0f, row);
        }
    }
    free(space);
    return 1;
}

/* With weights P: dv = P^T dy, dP = dy v^T, dlogits = P (dP - sum(P dP)), dq = scale dlogits k, dk = scale dlogits^T q,
 * dbias = sum of dlogits over sequences. dqkv has qkv's shape; dbias may be NULL. */
int attend_backward(const float *qkv, const float *bias, const uint8_t *mask, const float *dy, float *dqkv, float *dbias,
                    long S, long windows, long N, long Q, long heads, long D, float scale) {
    Attention a = {qkv, bias, mask, S, windows, N, Q, heads, D, scale};
    long P = padded(N), rows = (Q + ROWS - 1) / ROWS * ROWS;
    long C = heads * D, pairs = dbias ? heads * N * N : 0, threads = omp_get_max_threads();
    long size = 2 * (D + rows) * P + D;
    float *space = malloc(threads * size * sizeof(float)), *biases = calloc(threads * pairs + 1, sizeof(float));
    if (!space || !biases) return free(space), free(biases), 0;
#pragma omp parallel for schedule(static) num_threads(threads)
    for (long task = 0; task < S * heads; task++) {
        long s = task / heads, h = task % heads;
        float *keys = space + omp_get_thread_num() * size, *values = keys + D * P, *unused = values + D * P;
        float *weights = unused + D, *dlogits = weights + rows * P;
        Head head = head_of(&a, s, h);
        const float *dys = dy + s * Q * C + h * D;
        float *dq = dqkv + (head.q - qkv), *dk = dq + C, *dv = dk + C;
        transpose(head.k, head.stride, N, D, P, keys);
        transpose(head.v, head.stride, N, D, P, values);
        for (long i = 0; i < Q; i += ROWS) {
            float *p = weights + i * P, *dp = dlogits + i * P, *dqi[ROWS];
            const float *q[ROWS], *dyi[ROWS];
            for (long r = 0; r < ROWS; r++) {
                dyi[r] = dys + (i + r < Q ? i + r : i) * C;
                dqi[r] = i + r < Q ? dq + (i + r) * head.stride : unused;
            }
            weights_of(&a, &head, keys, i, P, q, p);
            products(dyi, values, D, P, dp);
            for (long r = 0; r < ROWS && i + r < Q; r++) {
                long row = (i + r) * N;
                softmax_backward(p + r * P, dp + r * P, N, P, head.mask ? head.mask + row : NULL);
                if (dbias) add(dp + r * P, biases + omp_get_thread_num() * pairs + h * N * N + row, N);
            }
            mixture(dp, P, 1, head.k, head.stride, N, D, scale, dqi);
        }
        for (long j = 0; j < N; j += ROWS) {
            float *dkj[ROWS], *dvj[ROWS];
            for (long r = 0; r < ROWS; r++) {
                dkj[r] = j + r < N ? dk + (j + r) * head.stride : unused;
                dvj[r] = j + r < N ? dv + (j + r) * head.stride : unused;
            }
            mixture(dlogits + j, 1, P, head.q, head.stride, Q, D, scale, dkj);
            mixture(weights + j, 1, P, dys, C, Q, D, 1.0f, dvj);
        }
        for (long j = Q; j < N; j++) memset(dq + j * head.stride, 0, D * sizeof(float));
    }
    if (dbias) add_parts(biases, threads, dbias, pairs);
    free(space);
    free(biases);
    return 1;
}
