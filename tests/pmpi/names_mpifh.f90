program names_mpifh
  implicit none
  include 'mpif.h'
  include 'names.inc'
end program names_mpifh
