! Fortran's allocatable arrays and MPI_Alloc_mem in one allreduce each. The report tells how many buffers were lent.
program arena_f08
  use mpi_f08
  use, intrinsic :: iso_c_binding
  implicit none
  integer, parameter :: n = 131072
  real(8), allocatable :: a(:), b(:)
  real(8), pointer :: c(:), d(:)
  type(c_ptr) :: pc, pd
  integer :: me, ranks

  call MPI_Init()
  call MPI_Comm_rank(MPI_COMM_WORLD, me)
  call MPI_Comm_size(MPI_COMM_WORLD, ranks)
  allocate(a(n), b(n))
  call check(a, b)
  deallocate(a, b)
  call MPI_Alloc_mem(int(8 * n, MPI_ADDRESS_KIND), MPI_INFO_NULL, pc)
  call MPI_Alloc_mem(int(8 * n, MPI_ADDRESS_KIND), MPI_INFO_NULL, pd)
  call c_f_pointer(pc, c, [n])
  call c_f_pointer(pd, d, [n])
  call check(c, d)
  call MPI_Free_mem(c)
  call MPI_Free_mem(d)
  if (me == 0) print '(a)', 'pmpi test: passed'
  call MPI_Finalize()

contains

  subroutine check(x, y)
    real(8), intent(inout) :: x(n), y(n)
    x = me + 1
    y = 0
    call MPI_Allreduce(x, y, n, MPI_DOUBLE_PRECISION, MPI_SUM, MPI_COMM_WORLD)
    if (any(y /= real(ranks * (ranks + 1) / 2, 8))) call MPI_Abort(MPI_COMM_WORLD, 1)
  end subroutine check
end program arena_f08
