/* Libraries that load as CUDA's runtime or NCCL and answer nothing but what loading asks. Built several times with other
   WITHOUT_... and versions; the tests open them by path. */
#define STUB(name) int name(void) { return 3; }
#ifdef FAKE_NCCL
int ncclGetVersion(int *version) { *version = FAKE_NCCL; return 0; }
const char *ncclGetErrorString(int code) { return code ? "some error" : "no error"; }
STUB(ncclGetUniqueId) STUB(ncclCommInitRankConfig) STUB(ncclCommSplit) STUB(ncclCommFinalize) STUB(ncclCommDestroy) STUB(ncclCommAbort)
STUB(ncclCommGetAsyncError) STUB(ncclCommCount) STUB(ncclCommCuDevice) STUB(ncclCommUserRank) STUB(ncclAllReduce) STUB(ncclBroadcast)
STUB(ncclReduce) STUB(ncclAllGather) STUB(ncclReduceScatter) STUB(ncclRecv) STUB(ncclGroupStart) STUB(ncclGroupEnd)
STUB(ncclRedOpCreatePreMulSum) STUB(ncclRedOpDestroy) STUB(ncclGetLastError) STUB(ncclCommRegister)
#ifndef WITHOUT_SEND
STUB(ncclSend)
#endif
#endif
#ifdef FAKE_CUDA_RUNTIME
int cudaRuntimeGetVersion(int *version) { *version = FAKE_CUDA_RUNTIME; return 0; }
int cudaDriverGetVersion(int *version) { *version = FAKE_CUDA_DRIVER; return 0; }
const char *cudaGetErrorString(int code) { return code ? "some error" : "no error"; }
STUB(cudaGetDeviceCount) STUB(cudaGetDevice) STUB(cudaSetDevice) STUB(cudaDeviceGetAttribute) STUB(cudaDeviceGetPCIBusId) STUB(cudaDeviceCanAccessPeer)
STUB(cudaPointerGetAttributes) STUB(cudaMalloc) STUB(cudaFree) STUB(cudaMallocAsync) STUB(cudaFreeAsync) STUB(cudaMallocManaged) STUB(cudaHostAlloc)
STUB(cudaFreeHost) STUB(cudaHostRegister) STUB(cudaHostUnregister) STUB(cudaMemcpyAsync) STUB(cudaMemsetAsync) STUB(cudaStreamCreateWithFlags)
STUB(cudaStreamDestroy) STUB(cudaStreamSynchronize) STUB(cudaStreamQuery) STUB(cudaStreamWaitEvent) STUB(cudaStreamIsCapturing)
STUB(cudaStreamBeginCapture) STUB(cudaStreamEndCapture) STUB(cudaThreadExchangeStreamCaptureMode) STUB(cudaGraphInstantiateWithFlags)
STUB(cudaGraphLaunch) STUB(cudaGraphExecDestroy) STUB(cudaGraphDestroy) STUB(cudaEventCreateWithFlags) STUB(cudaEventRecord) STUB(cudaEventQuery)
STUB(cudaEventSynchronize) STUB(cudaEventDestroy) STUB(cudaLaunchHostFunc) STUB(cudaGetLastError)
#endif
